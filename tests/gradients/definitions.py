"""The definition of every op, from the files `definitions_*.py` beside this one."""

import definitions_arrays
import definitions_layers
import definitions_losses
import definitions_numbers
import definitions_products

FILES = (
    definitions_numbers,
    definitions_arrays,
    definitions_products,
    definitions_layers,
    definitions_losses,
)
DEFINITIONS = {name: d for file in FILES for name, d in file.DEFINITIONS.items()}
