"""Which format does a folder have, and where are its images and masks?"""
