"""Helpers of the blood-cells course: the notebooks tell the story, these modules compute it."""
