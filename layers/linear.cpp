#include "layers/linear.hpp"

#include "layers/kernels/matmul.hpp"

namespace sluice {

using kernels::Matmul;
using kernels::Transpose;

void linear_forward(const Stream& stream, const TensorView& x, const TensorView& weight,
                    const TensorView& y, const Factor& alpha, const Addend& addend)
{
    kernels::launch(stream, Matmul{.a = x,
                                   .b = weight,
                                   .out = y,
                                   .addend = addend.tensor,
                                   .transpose_b = Transpose::yes,
                                   .alpha = alpha,
                                   .beta = addend.factor});
}

void linear_backward_input(const Stream& stream, const TensorView& dy, const TensorView& weight,
                           const TensorView& dx, const Factor& alpha, const Addend& addend)
{
    kernels::launch(stream, Matmul{.a = dy,
                                   .b = weight,
                                   .out = dx,
                                   .addend = addend.tensor,
                                   .alpha = alpha,
                                   .beta = addend.factor});
}

void linear_backward_weight(const Stream& stream, const TensorView& dy, const TensorView& x,
                            const TensorView& weight_gradient, const Factor& alpha)
{
    kernels::launch(stream, Matmul{.a = dy,
                                   .b = x,
                                   .out = weight_gradient,
                                   .addend = weight_gradient,
                                   .transpose_a = Transpose::yes,
                                   .alpha = alpha,
                                   .beta = 1.0});
}

} // namespace sluice
