// A number that an operation multiplies by, and that may change while the operation stays the same.
#pragma once

#include "core/tensor_view.hpp"

namespace sluice::kernels {

/// Either a number that comes with the operation, or one that lies where the operation runs, which
/// reads it when it runs: work captured in a graph (core/cuda/gpu_graph.hpp) starts again and again
/// with what then lies there. GPUs round the first to float32 as the second is.
struct Factor {
    Factor(double number = 1.0) : value(number) {} // NOLINT(google-explicit-constructor)
    Factor(double number, const TensorView& place) : value(number), memory(place) {}

    double value;        ///< with `memory`: what whoever launches knows of it
    TensorView memory{}; ///< [1] f32 (f64 for the reference), read instead of `value`; or empty

    /// For backends that run on the host.
    double on_host() const
    {
        if (memory.empty())
            return value;
        return memory.dtype == DType::f64 ? *memory.as<double>()
                                          : static_cast<double>(*memory.as<float>());
    }
};

} // namespace sluice::kernels
