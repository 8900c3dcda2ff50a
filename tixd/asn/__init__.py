"""Where packets come from: the autonomous system (AS) that an address belongs to."""
