"""Images and labels that are read where they are, as a split of cases, without conversion.

What is in a folder is decided by this rule, in this order, for patches of 2 or 3 axes:

1. What zarrfeed packed, it opens as before.
2. An OME-Zarr image is a case, of which each label under ``labels`` may be a field. Its axes have
   names: ``z`` (for patches of 3 axes), ``y`` and ``x`` are those of the case, ``c`` becomes the
   last one, and without it an image gets one channel; each point of ``t`` is a case of its own.
   Only the finest resolution is read.
3. A group that has the arrays of the fields (``image`` and ``mask``, or those that are asked for)
   is a case if the mask has as many axes as patches; the mask is the field of this name, or the
   second one, or the only one. If it has another number, the group is a split of samples along
   axis 0. Other fields may have a channel axis besides, last or first; where both fit the size of
   the mask, it is the last. The image gets one channel where it has no such axis.
4. An array alone is a case if it has as many axes as patches.
5. A group or folder that has neither is searched for cases, up to three levels deep: a
   bioformats2raw container, a plate, a folder of images.
"""
