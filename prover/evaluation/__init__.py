"""Comparing searches: solve rates, paired tests, intervals."""
