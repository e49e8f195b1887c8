"""A function that is served as a model and does what the density that it is given says."""

import os
import time

import numpy as np

SLOW, RAISE, NOT_A_NUMBER, DIE = -1, -2, -3, -4


def moody(alcohol, density, ph):
    """Alcohol, unless told to misbehave."""
    how = int(density.min())
    if how == SLOW:
        time.sleep(0.15)
    if how == DIE:
        os._exit(3)
    if how == RAISE:
        raise ZeroDivisionError("not today")
    return alcohol * np.nan if how == NOT_A_NUMBER else alcohol
