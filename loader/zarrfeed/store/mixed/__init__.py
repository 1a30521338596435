"""Several splits as one: their rows follow each other, and their classes have common ids.

======================  ==========================================================================
class_join              which id has a class of each store? By name; pure
differences             the table of what differs between stores; pure
mixed_files             the shards of several arrays as those of one
mixed_field             reads the rows of a field, wherever they are
mixed_table             reads the rows of what describes samples: counts, sums, sizes of cases
mixed_names             reads the keys of samples and cases
store_facts             what must be the same in all stores
joined_stores           each store with the common classes
described_rows          what describes the samples and cases of all
mixed_split             all stores as one, and whether that can be read
opening                 puts the stores together
======================  ==========================================================================

Row r of store k is row ``first[k] + r`` of the whole, and so are its cases. Nothing is copied.
"""
