"""Several splits as one: their rows follow each other, and their classes have common ids.

======================  ==========================================================================
class_join              which id has a class of each store? By name; pure
differences             the table of what differs between stores; pure
mixed_files             the shards of several arrays as those of one
mixed_field             reads the rows of a field, wherever they are
mixed_table             reads the rows of what describes samples: keys, counts, sizes of cases
opening                 puts the stores together
======================  ==========================================================================

Row r of store k is row ``first[k] + r`` of the whole, and so are its cases. Nothing is copied.
"""
