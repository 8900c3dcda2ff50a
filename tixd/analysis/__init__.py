"""From the observations of one window to usage, quality and Hurst; pure numpy."""
