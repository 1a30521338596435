"""How well do stored predictions agree with the masks of a split?"""
