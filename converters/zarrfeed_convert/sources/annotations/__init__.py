"""Images, and masks from what annotation tools write."""
