"""A power cut: what a program did to its disk is recorded, and the disk rebuilt as it would be after losing power."""
