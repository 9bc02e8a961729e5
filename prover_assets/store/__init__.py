"""The data folder: where files lie, and the small records that steps leave for each other. Knows no Dagster."""
