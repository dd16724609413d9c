"""Mutants that no test can tell from the original, with the reason; reviewed by hand.

Keys are the function, the expression before and after, and which of equal changes in the function
it is: they hold when lines move. tests/mutate.py fails for entries that match nothing.
"""

Key = tuple[str, str, str, int]

COMMUTES = "the two arguments have equal parts"
MASKED = "what is changed is masked: `where` takes the other branch there, to any order"
WEAK = "Python's numbers are weak: the dtype stays"
TIMES_ZERO = "it is multiplied by 0 there"
ROUNDING = "the same sums in another order, or along another layout: rounding and speed alone"
ANY_NEGATIVE = "of a shape NumPy takes any one negative length for the unknown one"
HELD = "arrays and tensors do alike where nothing is differentiated by them"
OVERWRITTEN = "what it writes too far the next line writes over"
GATES = "it is 0 there already, for the gates are; it guards against infinite gradients alone"
CHECKED = "a check of arguments: test_bad_input.py sees it"
BROADCASTS = "without it the shape broadcasts to the same"

COUNT = "math.prod([shape[axis] for axis in _checks.axes('mean', dim, len(shape))])"
ROW_PRODUCT = "matmul(reshape(g, (*g.shape[:-1], 1, g.shape[-1])), swap(y))"
EINSUM = "array_module(x).einsum(f'{every},{every}->{left}', "
SCALE = "rstd if weight is None else rstd * weight"

EQUIVALENT: dict[Key, str] = {
    # ---- minidl/ops/activation.py
    ("celu.x", "0", "1", 0): "between 0 and 1 the other branch is exp(0) = 1",
    ("_by_channel", "max(ndim - 2, 0)", "ndim - 2", 0): "(1,) * -1 is () as well",
    ("_below", "0", "1", 0): MASKED,
    ("_below", "0", "1", 1): MASKED,
    ("_gelu_tanh_slope", "clamp(x, -12, 12)", "clamp(-12, x, 12)", 0): COMMUTES,
    ("_gelu_tanh_slope", "12", "13", 0): "the slope is 0 or 1 to the last bit from 12 on",
    ("_gelu_tanh_slope", "12", "13", 1): "the slope is 0 or 1 to the last bit from 12 on",
    # ---- minidl/ops/arithmetic.py, elementary.py, classification.py
    ("_pow_x", "1", "2", 1): TIMES_ZERO,
    ("atan2.input", "_distance(input, other)", "_distance(other, input)", 0): COMMUTES,
    ("atan2.other", "_distance(input, other)", "_distance(other, input)", 0): COMMUTES,
    ("_distance", "1", "2", 0): "0 is divided by it",
    ("logistic_loss.x", "laid_out_like(kernels.logistic_loss_input(g, x, target), x, g)",
     "kernels.logistic_loss_input(g, x, target)", 0): "a layout: test_layouts.py sees it",
    ("logistic_loss.x", "laid_out_like(kernels.logistic_loss_input(g, x, target), x, g)",
     "laid_out_like(kernels.logistic_loss_input(g, x, target), g, x)", 0):
        "a layout: test_layouts.py sees it",
    ("logistic_loss.target", "laid_out_like(-g * x, g)", "-g * x", 0):
        "a layout: test_layouts.py sees it",
    ("mean_logistic_loss.x",
     "laid_out_like(kernels.logistic_loss_input(_evenly(g, x), x, target), x)",
     "kernels.logistic_loss_input(_evenly(g, x), x, target)", 0):
        "a layout: test_layouts.py sees it",
    ("mean_logistic_loss.target", "laid_out_like(-_evenly(g, x) * x, x)", "-_evenly(g, x) * x", 0):
        "a layout: test_layouts.py sees it",
    ("_shares", "0", "1", 0): MASKED,
    ("_label_cross_entropy_definition", "raw(target)", "target", 0): HELD,
    ("_label_cross_entropy_definition", "raw(weight)", "weight", 0): HELD,
    ("_linear_definition", "_check_linear(x, weight, bias, activation)", "x", 0): CHECKED,
    ("_linear_definition", "_check_linear(x, weight, bias, activation)", "pass", 0): CHECKED,
    ("_linear_definition", "_flat(x)", "x", 0): "a product takes more axes as well",
    ("_matmul_dx", f"reshape({ROW_PRODUCT}, (*g.shape[:-1], x_shape[0]))", ROW_PRODUCT, 0):
        "the tape sums over the axes that were broadcast",
    ("_matmul_dy", "sum(x * reshape(g, (*g.shape, 1)), tuple(range(len(x.shape) - 1)))",
     "x * reshape(g, (*g.shape, 1))", 0): "the tape sums over the axes that were broadcast",
    # ---- minidl/ops/indexing.py, shape.py, sorting.py, transfer.py
    ("_mesh", "_plain(index)", "index", 0): HELD,
    ("transpose.x", "transpose(g, dim0, dim1)", "transpose(g, dim1, dim0)", 0): COMMUTES,
    ("median_of_all.x", "False", "True", 0): BROADCASTS,
    ("to_place.x", "to_place(g, source)", "g", 0): "it takes two devices; the tests marked gpu",
    # ---- minidl/ops/normalization.py
    ("_total", "len(axes) > 1", "len(axes) <= 1", 0): ROUNDING,
    ("_total", "1", "2", 0): ROUNDING,
    ("_total", "1", "2", 1): ROUNDING,
    ("_inner", f"{EINSUM}x, y)", f"{EINSUM}y, x)", 0): COMMUTES,
    ("_spread", "2", "3", 0): ROUNDING,
    ("_spread", "x.shape[shared[0]] < 4", "x.shape[shared[0]] >= 4", 0): ROUNDING,
    ("_spread", "0", "1", 0): ROUNDING,
    ("_spread", "0", "1", 1): ROUNDING,
    ("_spread", "4", "5", 0): ROUNDING,
    ("standardize_gradient", "_spread(centre, x, shared)", "centre", 0): ROUNDING,
    ("standardize_gradient", "_spread(of_d, x, shared)", "of_d", 0): ROUNDING,
    ("standardize_gradient", "_spread(constant, x, shared)", "constant", 0): ROUNDING,
    ("standardize_gradient", f"_spread({SCALE}, x, shared)", SCALE, 0): ROUNDING,
    ("standardize_gradient", "_inner(g, d, shared)", "_inner(d, g, shared)", 0): COMMUTES,
    ("standardize_gradient", "_inner(summed, repeated, rest)",
     "_inner(repeated, summed, rest)", 0): COMMUTES,
    ("standardize_gradient", "_inner(product, repeated, rest)",
     "_inner(repeated, product, rest)", 0): COMMUTES,
    ("standardize_gradient", "1", "2", 1): ANY_NEGATIVE,
    ("standardize_gradient", "1", "2", 2): ANY_NEGATIVE,
    # ---- minidl_kernels/generic
    ("cross_entropy_input", "0", "1", 1): MASKED,
    ("standardize_gradient", "max(math.prod([x.shape[a] for a in axes]), 1)",
     "math.prod([x.shape[a] for a in axes])", 0): "of no elements it divides none",
    ("relu_gradient", "1", "2", 0): ANY_NEGATIVE,
    ("unpool", "1", "2", 0): ANY_NEGATIVE,
    ("max_pool_input", "1", "2", 2): ANY_NEGATIVE,
    ("max_pool_input", "1", "2", 4): ANY_NEGATIVE,
    ("_divisors", "counts == counts.flat[0]", "counts != counts.flat[0]", 0): ROUNDING,
    ("_divisors", "int(counts.flat[0])", "counts.flat[0]", 0): "the same number",
    ("_masks", "int(lengths.min())", "lengths.min()", 0): "the same number",
    ("_masks", "1", "2", 0): ANY_NEGATIVE,
    ("_before", "1", "2", 0): OVERWRITTEN,
    ("_before", "-1", "1", 1): OVERWRITTEN,
    ("_before", "1", "2", 3): OVERWRITTEN,
    ("_weights", "mask is not None", "mask is None", 0): "it copies when it need not",
    ("_weights", "any((mask is not None for mask in masks))",
     "(mask is not None for mask in masks)", 0): "it copies when it need not",
    ("lstm_gradient", "_clear(masks[t], ga[t])", "pass", 0): GATES,
    ("lstm_gradient", "_clear(masks[t], ga[t])", "masks[t]", 0): GATES,
    ("cross_entropy_input", "bool(counts.all())", "counts.all()", 0): "a bool of NumPy is one",
    ("conv_input", "1", "2", 0): "two channels of one group each go the general way",
    ("conv_weight", "1", "2", 1): "two channels of one group each go the general way",
    ("output_sizes", "0", "1", 0): "where no window fits the op refuses before",
    ("_columns", "0", "1", 3): "of no images it makes room that nobody uses",
    ("_columns", "any((before or after for before, after in padding))",
     "(before or after for before, after in padding)", 0): "it copies when it need not",
    ("_columns", "x.dtype != dtype", "x.dtype == dtype", 0): "it copies when it need not",
    ("_columns", "not x.flags.c_contiguous", "x.flags.c_contiguous", 0):
        "it copies when it need not",
    ("_columns", "c // groups > FEW", "c // groups <= FEW", 0): ROUNDING,
    ("_windows", "zip(steps, stride, strict=True)", "zip(stride, steps, strict=True)", 0):
        COMMUTES,
    ("_windows", "zip(steps, dilation, strict=True)", "zip(dilation, steps, strict=True)", 0):
        COMMUTES,
    ("_in_order", "1", "2", 2): ANY_NEGATIVE,
    ("_in_order", "1", "2", 3): ANY_NEGATIVE,
    ("_sorted", "1", "2", 0): "one more spare row",
    # ---- minidl/ops/recurrent.py
    ("_run", "unbind(x)", "x", 0): "a tensor is iterated over its first axis",
    ("_run", "1", "2", 2): ANY_NEGATIVE,
    ("_run", "0", "1", 0): "beyond an end any number will do that is not NaN",
    ("_run", "0", "1", 3): "beyond an end the definition's value is a constant, used by nobody",
    ("_rnn_definition", "cell(x, states[0], w_ih, w_hh, b_ih, b_hh)",
     "cell(x, states[0], w_ih, w_hh, b_hh, b_ih)", 0): "the biases are added up",
    ("_lstm_definition", "lstm_cell(x, states, w_ih, w_hh, b_ih, b_hh)",
     "lstm_cell(x, states, w_ih, w_hh, b_hh, b_ih)", 0): "the biases are added up",
    # ---- minidl/ops/reduction.py
    ("shared", "where(out != out, x != x, x == out)", "where(x != x, out != out, x == out)", 0):
        "where x is NaN so is the largest of its row, and NaN equals nothing",
    ("_freedom", "int(unbiased)", "unbiased", 0): "a bool is 0 or 1",
    ("_count", "float(math.prod(shape))", "math.prod(shape)", 0): WEAK,
    ("_count", f"float({COUNT})", COUNT, 0): WEAK,
    ("mean.x", "1", "2", 0): "of no elements it divides none",
    ("_std_dx", "1", "2", 0): TIMES_ZERO,
    ("_std_dx", "0", "1", 1): "of equal elements the deviations, which it is times, are 0",
    ("_std_dx", "0", "1", 2): "of equal elements the deviations, which it is times, are 0",
    ("_norm_dx", "0", "1", 2): "of zeros the norm is 0, and its sign or x, which it is times, is 0",
    ("_norm_dx", "1", "2", 1): TIMES_ZERO,
    ("_norm_dx", "1", "2", 2): "of x = 0 the sign is 0",
    # ---- minidl/ops/scans.py
    ("_others", "zeros_like(x) + 1", "1", 0): BROADCASTS,
}  # fmt: skip
