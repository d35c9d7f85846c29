"""The Prefect flows and their tasks: the only package that imports Prefect."""
