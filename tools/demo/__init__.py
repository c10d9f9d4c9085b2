"""The main job on a file of real purchases: recorded, refunded, mailed, and proved. Behind `./dev demo`."""
