"""Tests that drive the page; a package, so that what they share ends before other tests begin."""
