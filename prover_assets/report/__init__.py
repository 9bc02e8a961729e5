"""The report of an iteration: its facts, tables, plots and page. Knows no Dagster."""
