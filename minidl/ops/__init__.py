"""Every operation that minidl claims, by family; `registry` lists them all."""

from minidl.ops import (
    activation,
    arithmetic,
    attention,
    classification,
    comparison,
    convolution,
    dense,
    dropouts,
    elementary,
    indexing,
    interpolation,
    joining,
    linalg,
    losses,
    normalization,
    pooling,
    recurrent,
    recurrent_stack,
    reduction,
    scans,
    shape,
    sorting,
)
from minidl.ops.activation import *
from minidl.ops.arithmetic import *
from minidl.ops.attention import *
from minidl.ops.classification import *
from minidl.ops.comparison import *
from minidl.ops.convolution import *
from minidl.ops.dense import *
from minidl.ops.dropouts import *
from minidl.ops.elementary import *
from minidl.ops.indexing import *
from minidl.ops.interpolation import *
from minidl.ops.joining import *
from minidl.ops.linalg import *
from minidl.ops.losses import *
from minidl.ops.normalization import *
from minidl.ops.pooling import *
from minidl.ops.recurrent import *
from minidl.ops.recurrent_stack import *
from minidl.ops.reduction import *
from minidl.ops.scans import *
from minidl.ops.shape import *
from minidl.ops.sorting import *
from minidl.tape import registry

__all__ = ["registry"]
__all__ += activation.__all__
__all__ += arithmetic.__all__
__all__ += attention.__all__
__all__ += classification.__all__
__all__ += comparison.__all__
__all__ += convolution.__all__
__all__ += dense.__all__
__all__ += dropouts.__all__
__all__ += elementary.__all__
__all__ += indexing.__all__
__all__ += interpolation.__all__
__all__ += joining.__all__
__all__ += linalg.__all__
__all__ += losses.__all__
__all__ += normalization.__all__
__all__ += pooling.__all__
__all__ += recurrent.__all__
__all__ += recurrent_stack.__all__
__all__ += reduction.__all__
__all__ += scans.__all__
__all__ += shape.__all__
__all__ += sorting.__all__
