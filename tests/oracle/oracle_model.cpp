#include "tests/oracle/oracle_model.hpp"

#include <algorithm>
#include <stdexcept>

namespace sluice::testing {
namespace {

Arrangement arrangement_named(const std::string& name)
{
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::post, Arrangement::sandwich, Arrangement::deepnorm,
          Arrangement::lns})
        if (name_of(arrangement) == name)
            return arrangement;
    throw std::runtime_error("no arrangement is called " + name);
}

template <class T>
void assign(const TensorView& to, const std::vector<double>& numbers)
{
    std::transform(numbers.begin(), numbers.end(), to.as<T>(),
                   [](double x) { return static_cast<T>(x); });
}

} // namespace

ModelSpec model_of(const OracleFixture& fixture)
{
    ModelSpec spec;
    spec.vocab_size = fixture.integer_attribute("vocab_size");
    spec.hidden_size = fixture.integer_attribute("hidden_size");
    spec.intermediate_size = fixture.integer_attribute("intermediate_size");
    spec.num_layers = fixture.integer_attribute("num_layers");
    spec.num_heads = fixture.integer_attribute("num_heads");
    spec.norm_eps = fixture.attribute("norm_eps");
    spec.rope_base = fixture.attribute("rope_base");
    spec.arrangement = arrangement_named(fixture.text_attribute("arrangement"));
    return spec;
}

ModelChunkOptions chunk_options(const OracleFixture& fixture, const LayerRange& range,
                                Backend backend, BackwardSplit split, std::int64_t num_slots)
{
    ModelChunkOptions options;
    options.model = model_of(fixture);
    options.model.max_seq_len = fixture.integer_attribute("seq_len");
    options.range = range;
    options.micro_batch = {fixture.integer_attribute("micro_batch_size"),
                           fixture.integer_attribute("seq_len")};
    options.num_slots = num_slots;
    options.num_gradient_slots = num_slots;
    options.split = split;
    options.stream.backend = backend;
    return options;
}

LayerRange whole_model(const ModelSpec& spec)
{
    return {.begin = 0, .end = spec.num_layers, .embedding = true, .head = true};
}

void load_weights(ModelChunk& chunk, const OracleFixture& fixture, const std::string& group)
{
    for (const Parameter& parameter : chunk.parameters()) {
        const std::string path = group + "/" + dataset_path(parameter.spec.name);
        const std::vector<double> numbers = fixture.numbers(path);
        std::vector<std::int64_t> extents;
        for (int axis = 0; axis < parameter.spec.shape.rank(); ++axis)
            extents.push_back(parameter.spec.shape[axis]);
        if (extents != fixture.extents(path))
            throw std::runtime_error(path + " is not " + parameter.spec.shape.text());
        if (parameter.value.dtype == DType::f32)
            assign<float>(parameter.value, numbers);
        else
            assign<double>(parameter.value, numbers);
    }
}

OracleTokens::OracleTokens(const OracleFixture& fixture)
    : inputs_(fixture.integers("tokens/inputs")), targets_(fixture.integers("tokens/targets"))
{
    const std::int64_t sequences = fixture.integer_attribute("micro_batch_size");
    num_microbatches_ = fixture.integer_attribute("global_batch_size") / sequences;
    microbatch_tokens_ = sequences * fixture.integer_attribute("seq_len");
}

void OracleTokens::fill(ModelChunk& chunk, std::int64_t slot, std::int64_t update,
                        std::int64_t m) const
{
    const std::int64_t begin = (update * num_microbatches_ + m) * microbatch_tokens_;
    if (chunk.options().range.embedding)
        std::copy_n(inputs_.begin() + begin, microbatch_tokens_,
                    chunk.input_tokens(slot).as<std::int32_t>());
    if (chunk.options().range.head)
        std::copy_n(targets_.begin() + begin, microbatch_tokens_,
                    chunk.target_tokens(slot).as<std::int32_t>());
}

void append(std::vector<double>& to, const TensorView& tensor)
{
    if (tensor.dtype == DType::f32)
        to.insert(to.end(), tensor.elements<float>().begin(), tensor.elements<float>().end());
    else
        to.insert(to.end(), tensor.elements<double>().begin(), tensor.elements<double>().end());
}

std::vector<double> numbers_of(const TensorView& tensor)
{
    std::vector<double> numbers;
    append(numbers, tensor);
    return numbers;
}

} // namespace sluice::testing
