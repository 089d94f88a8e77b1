"""The prediction server: answers tasks of Label Studio when annotators open them."""
