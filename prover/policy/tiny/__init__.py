"""The shipped policy: a checkpoint of about 0.5M parameters, and the script that makes it."""
