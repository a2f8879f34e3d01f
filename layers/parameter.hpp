// The parameters of a range of layers: names, shapes, initial values.
//
// Names are those of Hugging Face's Llama ("model.layers.7.self_attn.q_proj.weight"), matrices are
// [out, in]. Parameters that are used in one product (q, k, v; gate, up) are neighbours in memory,
// so that the product sees one matrix while files see each by its name.
#pragma once

#include "core/tensor_view.hpp"
#include "layers/model_spec.hpp"

#include <string>
#include <vector>

namespace sluice {

struct LayerRange {
    std::int64_t begin = 0; ///< first decoder layer, counted from 0
    std::int64_t end = 0;   ///< one past the last
    bool embedding = false; ///< also owns the token embedding
    bool head = false;      ///< also owns the final norm and the head
    std::int64_t num_layers() const { return end - begin; }
    bool operator==(const LayerRange&) const = default;
};

/// One named parameter, known without any memory.
struct ParameterSpec {
    std::string name;
    Shape shape;             ///< [out,in] or [C]
    std::int64_t layer = -1; ///< 0-based decoder layer; -1 for embedding, final norm, head
    std::int64_t index = 0; ///< place in the order of all the model's parameters: embedding, layers
                            ///< 0..L-1, final norm, head; the order in which norms are added
    bool decayed = true;    ///< weight decay applies (false: norms and embedding)
    bool continues = false; ///< lies directly behind the previous parameter in memory
    double init_std = 0.0;  ///< standard deviation; 0 means a constant
    double init_constant = 0.0;
};

/// All parameters of `range`, in order of `index`.
std::vector<ParameterSpec> parameters_of(const ModelSpec& spec, const LayerRange& range);
/// All parameters of the model, in order of `index`.
std::vector<ParameterSpec> parameters_of(const ModelSpec& spec);

/// Elements [begin, end) of a flat array.
struct ElementRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t size() const { return end - begin; }
    bool empty() const { return end <= begin; }
    bool operator==(const ElementRange&) const = default;
};

/// One parameter with its memory (parameter_memory.hpp). Value and gradient have shape
/// `spec.shape`. What belongs to the optimizer, master weights and moments, is that of the elements
/// `owned`: of all, in `spec.shape`, unless replicas share them.
struct Parameter {
    ParameterSpec spec{};
    TensorView value{}, gradient{};
    TensorView master{}; ///< what `value` is a rounded copy of; without one, `value` is it itself
    TensorView first_moment{}, second_moment{};
    ElementRange owned{};

    bool has_master() const { return value.dtype != first_moment.dtype; }
    /// The elements whose moments are here: [owned.size()].
    TensorView owned_value() const { return value.slice(owned.begin, {owned.size()}); }
    TensorView owned_gradient() const { return gradient.slice(owned.begin, {owned.size()}); }
    /// Of those, what the optimizer updates: [owned.size()].
    TensorView owned_weight() const
    {
        return has_master() ? master.reshape({owned.size()}) : owned_value();
    }
};

/// Writes the initial value of one parameter: a pure function of (model, seed, name, element). In
/// bf16 it is that of fp32, rounded.
void initialize(const ModelSpec& spec, std::uint64_t seed, const Parameter& parameter);

} // namespace sluice
