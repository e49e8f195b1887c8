"""The mixed soak: many kinds of traffic on one gateway, and faults at random, for as long as one likes."""
