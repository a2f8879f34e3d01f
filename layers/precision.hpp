// The element types of a run, the same on every device that can compute in them.
#pragma once

#include "core/dtype.hpp"

namespace sluice {

struct Precision {
    DType compute = DType::f32;  ///< weights as products see them, activations and their gradients
    DType gradient = DType::f32; ///< of weights, added up over micro-batches
    DType state = DType::f32;    ///< the weights that the optimizer updates, and its moments

    /// Whether the optimizer has weights of its own, of which those of products are a rounded copy
    /// (Micikevicius et al. 2018, arXiv:1710.03740).
    bool has_master() const { return state != compute; }
    /// Of norms and softmax, and of rotary tables.
    DType statistics() const { return compute == DType::f64 ? DType::f64 : DType::f32; }
    /// Of parameters and moments in checkpoints: wide enough that a run goes on from there to the
    /// bit.
    DType stored() const { return statistics(); }
    bool operator==(const Precision&) const = default;
};

inline constexpr Precision fp32_precision{};
inline constexpr Precision fp64_precision{DType::f64, DType::f64, DType::f64};
/// bf16 products on fp32 master weights.
inline constexpr Precision bf16_precision{DType::bf16, DType::f32, DType::f32};
/// Nothing but bf16, as in the authors' code.
inline constexpr Precision pure_bf16_precision{DType::bf16, DType::bf16, DType::bf16};

} // namespace sluice
