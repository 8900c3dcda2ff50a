"""Usage, quality and Hurst of one window of observations; pure numpy."""
