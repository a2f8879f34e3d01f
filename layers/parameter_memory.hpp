// Where the numbers of parameters lie.
//
// Parameters come in groups: the embedding; each decoder layer; final norm and head. The values of
// a group lie in one piece, and so do its gradients, gaps of zeros for alignment included, so that
// data-parallel replicas exchange a group without packing it. Groups are laid out by shape alone,
// alike on every rank and for any partition.
#pragma once

#include "core/arena.hpp"
#include "layers/parameter.hpp"
#include "layers/precision.hpp"

#include <span>
#include <vector>

namespace sluice {

/// Which part of what belongs to the optimizer, master weights and moments, lives here: part
/// `index` of every group cut into `count` nearly equal ones (ZeRO stage 1; Rajbhandari et al.
/// 2020, arXiv:1910.02054). {0, 1}: all.
struct MomentShard {
    int index = 0;
    int count = 1;
    bool operator==(const MomentShard&) const = default;
};

/// Part `shard.index` of `num_elements`, cut at multiples of 64 bytes of `dtype`, that of the
/// values.
ElementRange part_of(std::int64_t num_elements, DType dtype, MomentShard shard);

struct ParameterGroup {
    std::size_t first = 0, last = 0; ///< places [first, last) in the list of parameters
    TensorView value, gradient;      ///< [num_elements], all parameters of the group
};

/// The groups of parameters that allocate_parameters() made, in order.
std::vector<ParameterGroup> groups_of(std::span<const Parameter> parameters);

/// The elements of a parameter of `group` that are in part `shard.index` of the group.
ElementRange owned_elements(const ParameterGroup& group, const Parameter& parameter,
                            MomentShard shard);

/// All elements from the first of `first` to the last of `last`, which lie behind each other in one
/// piece of memory: [n].
TensorView joined(const TensorView& first, const TensorView& last);

/// Takes memory for every parameter of `range`: values, gradients, and the shard's part of master
/// weights (where `precision` has them) and moments from an arena each. All are zero.
std::vector<Parameter> allocate_parameters(const ModelSpec& spec, const LayerRange& range,
                                           const Precision& precision, MomentShard shard,
                                           Arena& values, Arena& gradients, Arena& states);

/// Of every parameter of `range` the value alone, as allocate_parameters() lays it out; zero.
/// Gradient and state are empty, of the types that they would have.
std::vector<Parameter> allocate_values(const ModelSpec& spec, const LayerRange& range,
                                       const Precision& precision, Arena& values);

} // namespace sluice
