"""Running the loop: the next iteration, checks before the start, presets, progress, cleaning up."""
