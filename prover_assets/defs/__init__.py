"""Dagster's declarations, and nothing else: assets, checks, jobs, schedules, sensors, resources, settings."""
