"""What requests to AWS must be like, by botocore's model of the service."""

import re


def broken_rules(shape, value, place=""):
    """What botocore leaves to the service: enumerations, patterns and the lengths of texts and lists."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from broken_rules(shape.members[name], member, f"{place}.{name}")
    elif shape.type_name == "list":
        most = shape.metadata.get("max")
        if (most and len(value) > most) or len(value) < shape.metadata.get("min", 0):
            yield place, len(value)
        for number, member in enumerate(value):
            yield from broken_rules(shape.member, member, f"{place}[{number}]")
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield place, value
        if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", len(value)):
            yield place, len(value)
        pattern = shape.metadata.get("pattern", "")
        # Python's expressions know no classes of Unicode; those patterns allow all that can be printed.
        if pattern and r"\p{" not in pattern and not re.fullmatch(pattern, value):
            yield place, value
        if r"\p{" in pattern and not value.isprintable():
            yield place, value
