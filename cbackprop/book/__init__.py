"""Drop-ins for the programs of M. Nielsen, *Neural Networks and Deep Learning*.

``network`` is that of chapter 1, ``network2`` that of chapter 3, ``mnist_loader`` what reads
their data: the same names, arguments, data and printed lines, Python 3, at this package's
speed in float64. Seeded alike (``random.seed``, ``numpy.random.seed``), they draw the same
numbers as the book's programs and follow them to rounding.
"""
