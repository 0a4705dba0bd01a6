"""Lessons: photos collected on the page, the trainings on them, and the models that result."""
