"""Read splits from object stores through a local mirror, block by block.

A mirror is a folder with the files of a split. Shards are sparse files of full size::

    CACHE/ct-3f9a…/train/image/c/0/0/0/0     |block 0|       |block 2|block 3|  …
    CACHE/ct-3f9a…/train.mirror/blocks        1       0       1       3        odd: is there

Readers map these files as they map those of a local store. :mod:`~zarrfeed.store.mirror.file_table`
numbers blocks, :mod:`~zarrfeed.store.mirror.block_table` says which of them are there. Another
process, the fetcher, downloads and evicts them.
"""
