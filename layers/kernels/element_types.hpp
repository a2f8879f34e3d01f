// From a tensor's run-time type to a kernel's C++ type.
#pragma once

#include "core/bfloat16.hpp"
#include "core/tensor_view.hpp"

namespace sluice::kernels {

template <class T>
struct Type {
    using type = T;
};

/// body(Type<float>{}) or body(Type<BFloat16>{}).
template <class Body>
void with_type_of(const TensorView& tensor, Body&& body)
{
    if (tensor.dtype == DType::bf16)
        return body(Type<BFloat16>{});
    SLUICE_CHECK(tensor.dtype == DType::f32, "tensor is " << name_of(tensor.dtype));
    body(Type<float>{});
}

template <class T>
T* elements_or_null(const TensorView& tensor)
{
    return tensor.empty() ? nullptr : tensor.as<T>();
}

} // namespace sluice::kernels
