"""MLflow: runs, the model registry, where a run came from. Assets call it; it calls no asset."""
