"""Tests in a browser. A package, so that its fixtures are torn down before other tests begin."""
