"""Datasets of one image file and one mask file per sample: folders, CamVid, Cityscapes, VOC."""
