"""Use cases that cross rooms: explain, doctor, retrain, gc; and the Platform they run on."""
