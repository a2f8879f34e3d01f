// One forward and backward pass of every arrangement against the Python oracle, which was written
// from the paper's equations alone: residual stream behind each layer, logits, loss, every
// gradient; and what the initial weights are drawn from.
#include "layers/kernels/elementwise.hpp"
#include "layers/loss_head.hpp"
#include "tests/oracle/oracle_model.hpp"
#include "tests/oracle/worst_errors.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>

namespace sluice::testing {
namespace {

struct Tolerances {
    double activation, logits, loss, gradient;
};

// float64: what was asked for. The fixtures themselves are rounded to 9e-13.
constexpr Tolerances float64_tolerances = {1e-10, 1e-10, 1e-10, 1e-10};
// float32: weights and tokens are exact, so all of the error is rounding on the way: six sums of 24
// to 96 products per layer, four layers there and back, some hundred roundings of 6e-8 that mostly
// cancel. Measured 9e-7, 9e-7, 2e-8 and 2e-6; the bounds stand five to twenty-five times above, and
// far below what a small mistake does (eps 1e-6 instead of 1e-5 in the norms: 8e-4).
constexpr Tolerances float32_tolerances = {5e-6, 5e-6, 5e-7, 2e-5};
// bf16: arithmetic is in float32, but nine tensors per layer are rounded where they are stored, and
// the weights of seven products: 16 independent roundings by 0.4 2^-8 in the root mean square, in
// four layers, sqrt(64) 0.4 2^-8 = 1.2 percent of a tensor's norm, and 1.8 percent on the way there
// and back. What is compared is the worst of some thousand elements: four times that is allowed
// (measured: twice). Of a loss of 4 and logits of about 1 a loss has a quarter, tokens cancelling
// or not.
constexpr Tolerances bf16_tolerances = {5e-2, 5e-2, 3e-3, 7e-2};

// Heads of 64 and 128 channels: the oracle's numbers are stored with 20 bits, off by at most 2^-20
// of their largest element.
constexpr Tolerances wide_heads_stored = {1e-6, 1e-6, 1e-10, 1e-6};
// The same count as for bf16 above, in two layers instead of four. Tensor cores also take the
// weights of attention in bf16 on the way there, and them and the gradient of the scores on the way
// back: 17 roundings there and 36 in all, in each of two layers, sqrt(34) 0.4 2^-8 = 0.9 percent of
// a tensor's norm and sqrt(72) 0.4 2^-8 = 1.3 percent there and back, four times that for the worst
// of some thousand elements. Scores have a standard deviation of about 1, so that softmax does not
// enlarge what they are off by.
constexpr Tolerances wide_heads_bf16 = {3.6e-2, 3.6e-2, 3e-3, 5.3e-2};

const Path reference_path;

Path single_precision_path() { return {tested_stream(), fp32_precision, "float32"}; }

Path bf16_path() { return {tested_stream(), bf16_precision, "bf16"}; }

const Tolerances& tolerances_of(const Path& path)
{
    switch (path.precision.compute) {
    case DType::bf16: return bf16_tolerances;
    case DType::f32: return float32_tolerances;
    default: return float64_tolerances;
    }
}

std::string title_of(const std::string& what, const Path& path) { return what + ", " + path.name; }

void check_gradients(WorstErrors& errors, const OracleFixture& fixture, ModelChunk& chunk,
                     const Tolerances& allowed)
{
    for (const Parameter& parameter : chunk.parameters())
        errors.check("gradient of " + kind_of(parameter.spec.name),
                     fixture.file_name() + " " + parameter.spec.name,
                     numbers_of(parameter.gradient, chunk.options().stream),
                     fixture.numbers("single/gradients/" + dataset_path(parameter.spec.name)),
                     allowed.gradient);
}

/// The model cut behind the embedding's layer and every other one, with the head alone at the end,
/// so that the residual stream behind each layer is some chunk's output.
class Chain {
public:
    Chain(const OracleFixture& fixture, const Path& path, const OracleTokens& tokens)
        : fixture_(fixture), tokens_(tokens), alphas_(fixture.numbers("single/alpha"))
    {
        const auto num_layers = static_cast<std::int64_t>(alphas_.size());
        for (std::int64_t layer = 0; layer <= num_layers; ++layer) {
            LayerRange range{.begin = layer, .end = std::min(layer + 1, num_layers)};
            range.embedding = layer == 0;
            range.head = layer == num_layers;
            chunks_.push_back(std::make_unique<ModelChunk>(chunk_options(
                fixture, range, path, BackwardSplit::split, tokens.num_microbatches())));
            load_weights(*chunks_.back(), fixture, "initial");
        }
    }

    std::vector<std::unique_ptr<ModelChunk>>& chunks() { return chunks_; }

    void forward(std::int64_t m)
    {
        for (std::size_t i = 0; i < chunks_.size(); ++i) {
            tokens_.fill(*chunks_[i], m, 0, m);
            if (i > 0)
                copy(chunks_[i - 1]->output(m), chunks_[i]->input(m));
            chunks_[i]->forward(m, alphas_of(i));
        }
    }

    void backward_input(std::int64_t m)
    {
        const double loss_scale = 1.0 / static_cast<double>(tokens_.targets_per_update());
        for (std::size_t i = chunks_.size(); i-- > 0;) {
            if (i + 1 < chunks_.size())
                copy(chunks_[i + 1]->input_gradient(m), chunks_[i]->output_gradient(m));
            chunks_[i]->backward_input(m, m, alphas_of(i), loss_scale);
        }
    }

    void backward_weight(std::int64_t m)
    {
        for (std::size_t i = 0; i < chunks_.size(); ++i)
            chunks_[i]->backward_weight(m, m, alphas_of(i));
    }

    /// Logits of micro-batch `m` from the last layer's output, [N,V].
    std::vector<double> logits(std::int64_t m)
    {
        ModelChunk& last = *chunks_.back();
        const ModelChunkOptions& options = last.options();
        const std::int64_t num_tokens = options.micro_batch.num_tokens();
        Arena arena(std::size_t{1} << 20, options.stream.device);
        const LossHeadScratch scratch =
            allocate_loss_head_scratch(options.model, num_tokens, options.precision, arena);
        const LossHead head{.norm = {.weight = weight_of(last.parameters(), "model.norm.weight"),
                                     .eps = options.model.norm_eps},
                            .projection = weight_of(last.parameters(), "lm_head.weight")};
        head.evaluate(options.stream, last.input(m), last.target_tokens(m), scratch);
        return numbers_of(scratch.logits, options.stream);
    }

private:
    void copy(const TensorView& from, const TensorView& to) const
    {
        kernels::launch(chunks_[0]->options().stream, kernels::Copy{.from = from, .to = to});
    }
    std::span<const double> alphas_of(std::size_t chunk) const
    {
        return std::span<const double>(alphas_).subspan(chunk, chunk < alphas_.size() ? 1 : 0);
    }

    const OracleFixture& fixture_;
    const OracleTokens& tokens_;
    std::vector<double> alphas_;
    std::vector<std::unique_ptr<ModelChunk>> chunks_;
};

/// All micro-batches forward, then their input gradients, then their weight gradients.
void check_chain(const OracleFixture& fixture, const Path& path, const Tolerances& allowed,
                 WorstErrors& errors)
{
    const OracleTokens tokens(fixture);
    Chain chain(fixture, path, tokens);
    std::vector<std::vector<double>> stream(chain.chunks().size() - 1);
    std::vector<double> logits;
    double loss = 0.0;
    for (std::int64_t m = 0; m < tokens.num_microbatches(); ++m) {
        chain.forward(m);
        for (std::size_t layer = 0; layer < stream.size(); ++layer)
            append(stream[layer], chain.chunks()[layer]->output(m), path.stream);
        const std::vector<double> of_microbatch = chain.logits(m);
        logits.insert(logits.end(), of_microbatch.begin(), of_microbatch.end());
    }
    for (std::int64_t m = 0; m < tokens.num_microbatches(); ++m) {
        chain.backward_input(m);
        loss += chain.chunks().back()->loss_sum();
    }
    for (std::int64_t m = 0; m < tokens.num_microbatches(); ++m)
        chain.backward_weight(m);

    for (std::size_t layer = 0; layer < stream.size(); ++layer) {
        const std::string path = "single/activations/model/layers/" + std::to_string(layer);
        errors.check("activation", fixture.file_name() + " behind layer " + std::to_string(layer),
                     stream[layer], fixture.numbers(path), allowed.activation);
    }
    errors.check("logits", fixture.file_name(), logits, fixture.numbers("single/logits"),
                 allowed.logits);
    loss /= static_cast<double>(tokens.targets_per_update());
    errors.check("loss", fixture.file_name(), {&loss, 1}, fixture.numbers("single/loss"),
                 allowed.loss);
    for (const std::unique_ptr<ModelChunk>& chunk : chain.chunks())
        check_gradients(errors, fixture, *chunk, allowed);
}

/// Root mean square of micro-batch `m` behind every layer, against that of the oracle's numbers.
void check_activation_norms(WorstErrors& errors, const OracleFixture& fixture,
                            const ModelChunk& chunk, std::int64_t m, const Tolerances& allowed)
{
    const ModelSpec& model = chunk.options().model;
    const std::int64_t count = chunk.options().micro_batch.num_tokens() * model.hidden_size;
    std::vector<double> found(static_cast<std::size_t>(model.num_layers)), expected;
    chunk.activation_norms(found);
    for (std::int64_t layer = 0; layer < model.num_layers; ++layer) {
        const std::vector<double> stream =
            fixture.numbers("single/activations/model/layers/" + std::to_string(layer));
        double sum = 0.0;
        for (std::int64_t i = m * count; i < (m + 1) * count; ++i)
            sum += stream[static_cast<std::size_t>(i)] * stream[static_cast<std::size_t>(i)];
        expected.push_back(std::sqrt(sum / static_cast<double>(count)));
    }
    errors.check("activation norm", fixture.file_name() + " micro-batch " + std::to_string(m),
                 found, expected, allowed.activation);
}

/// The model in one chunk, weight gradients straight after input gradients.
void check_whole(const OracleFixture& fixture, const Path& path, const Tolerances& allowed,
                 WorstErrors& errors)
{
    const OracleTokens tokens(fixture);
    const std::vector<double> alphas = fixture.numbers("single/alpha");
    ModelChunk chunk(
        chunk_options(fixture, whole_model(model_of(fixture)), path, BackwardSplit::fused, 1));
    load_weights(chunk, fixture, "initial");
    chunk.set_activation_norms(ActivationNorms::measured);
    const double loss_scale = 1.0 / static_cast<double>(tokens.targets_per_update());
    double loss = 0.0, evaluated = 0.0;
    for (std::int64_t m = 0; m < tokens.num_microbatches(); ++m) {
        tokens.fill(chunk, 0, 0, m);
        chunk.forward(0, alphas);
        chunk.evaluate(0);
        evaluated += chunk.loss_sum() * loss_scale;
        check_activation_norms(errors, fixture, chunk, m, allowed);
        chunk.backward(0, 0, alphas, loss_scale);
        loss += chunk.loss_sum() * loss_scale;
    }
    errors.check("loss", fixture.file_name(), {&loss, 1}, fixture.numbers("single/loss"),
                 allowed.loss);
    errors.check("loss, evaluated", fixture.file_name(), {&evaluated, 1},
                 fixture.numbers("single/loss"), allowed.loss);
    check_gradients(errors, fixture, chunk, allowed);
}

/// Of heads of 64 channels, one file per arrangement, and of 128.
std::vector<std::string> wide_heads_fixtures()
{
    std::vector<std::string> names{"pre_wider-heads.h5"};
    for (const char* arrangement : {"pre", "post", "sandwich", "deepnorm", "lns"})
        names.push_back(std::string(arrangement) + "_wide-heads.h5");
    return names;
}

std::string init_name(Init init)
{
    switch (init) {
    case Init::standard: return "standard";
    case Init::ds: return "ds";
    case Init::scaled: return "scaled";
    case Init::xavier: return "xavier";
    }
    return "unknown";
}

BOOST_FIXTURE_TEST_SUITE(oracle, OneThread)

BOOST_AUTO_TEST_CASE(layer_by_layer_the_reference_path_is_the_oracle)
{
    WorstErrors errors(title_of("Layer by layer", reference_path));
    for (const std::string& name : training_fixtures())
        check_chain(OracleFixture(name), reference_path, tolerances_of(reference_path), errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(layer_by_layer_the_single_precision_path_is_near_the_oracle)
{
    WorstErrors errors(title_of("Layer by layer", single_precision_path()));
    for (const std::string& name : training_fixtures())
        check_chain(OracleFixture(name), single_precision_path(),
                    tolerances_of(single_precision_path()), errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(in_one_chunk_the_reference_path_is_the_oracle)
{
    WorstErrors errors(title_of("In one chunk", reference_path));
    for (const std::string& name : training_fixtures())
        check_whole(OracleFixture(name), reference_path, tolerances_of(reference_path), errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(in_one_chunk_the_single_precision_path_is_near_the_oracle)
{
    WorstErrors errors(title_of("In one chunk", single_precision_path()));
    for (const std::string& name : training_fixtures())
        check_whole(OracleFixture(name), single_precision_path(),
                    tolerances_of(single_precision_path()), errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(in_bf16_layer_by_layer_and_in_one_chunk_it_is_near_the_oracle)
{
    WorstErrors chains(title_of("Layer by layer", bf16_path()));
    WorstErrors whole(title_of("In one chunk", bf16_path()));
    for (const std::string& name : training_fixtures()) {
        check_chain(OracleFixture(name), bf16_path(), tolerances_of(bf16_path()), chains);
        check_whole(OracleFixture(name), bf16_path(), tolerances_of(bf16_path()), whole);
    }
    chains.report();
    whole.report();
}

BOOST_AUTO_TEST_CASE(with_wide_heads_the_reference_path_is_the_oracle)
{
    WorstErrors errors("Heads of 64 and 128 channels, float64");
    for (const std::string& name : wide_heads_fixtures())
        check_chain(OracleFixture(name), reference_path, wide_heads_stored, errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(with_wide_heads_in_bf16_it_is_near_the_oracle)
{
    WorstErrors errors("Heads of 64 and 128 channels, bf16");
    for (const std::string& name : wide_heads_fixtures())
        check_chain(OracleFixture(name), bf16_path(), wide_heads_bf16, errors);
    errors.report();
}

BOOST_AUTO_TEST_CASE(every_parameter_is_drawn_with_the_oracles_deviation)
{
    const OracleFixture fixture("initialisation.h5");
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::post, Arrangement::sandwich, Arrangement::deepnorm,
          Arrangement::lns})
        for (const Init init : {Init::standard, Init::ds, Init::scaled, Init::xavier}) {
            ModelSpec model = model_of(fixture);
            model.arrangement = arrangement;
            model.init = init;
            const std::string group =
                std::string(name_of(arrangement)) + "/" + init_name(init) + "/sigma/";
            for (const ParameterSpec& spec : parameters_of(model)) {
                const double sigma = fixture.number(group + dataset_path(spec.name));
                BOOST_CHECK_MESSAGE(std::abs(spec.init_std - sigma) <= 1e-15 * sigma,
                                    group << spec.name << ": " << spec.init_std << ", not "
                                          << sigma);
                BOOST_CHECK_MESSAGE(sigma > 0.0 || spec.init_constant == 1.0,
                                    group << spec.name << " starts at " << spec.init_constant);
            }
        }
}

BOOST_AUTO_TEST_CASE(the_authors_variants_start_where_the_oracle_says)
{
    const OracleFixture fixture("initialisation.h5");
    ModelSpec model = model_of(fixture);
    model.arrangement = Arrangement::lns;
    model.init_embedding_scale = EmbeddingScale::sqrt_d;
    for (const LnsVariant variant : {LnsVariant::fixed, LnsVariant::init}) {
        model.lns = variant;
        const std::string group =
            variant == LnsVariant::init ? "norm_weight/init/" : "norm_weight/fixed/";
        for (const ParameterSpec& spec : parameters_of(model)) {
            if (spec.init_std == 0.0)
                BOOST_CHECK_CLOSE_FRACTION(spec.init_constant,
                                           fixture.number(group + dataset_path(spec.name)), 1e-15);
            if (spec.name == "model.embed_tokens.weight")
                BOOST_CHECK_CLOSE_FRACTION(spec.init_std, fixture.number("embedding_sqrt_d"),
                                           1e-15);
        }
    }
}

BOOST_AUTO_TEST_CASE(the_comparison_sees_what_it_must)
{
    const std::vector<double> expected = {1.0, -4.0, 0.0}, zeros(3, 0.0);
    BOOST_CHECK_EQUAL(relative_error(expected, expected), 0.0);
    BOOST_CHECK_EQUAL(relative_error(std::vector{1.0, -4.0, 1.0}, expected), 0.25);
    BOOST_CHECK_EQUAL(relative_error(zeros, zeros), 0.0);
    BOOST_CHECK(std::isinf(relative_error(std::vector{0.0, 1e-300, 0.0}, zeros)));
    BOOST_CHECK(std::isinf(relative_error(std::vector<double>{1.0, NAN, 0.0}, expected)));
    BOOST_CHECK(std::isinf(relative_error(std::vector{1.0, -4.0}, expected)));
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice::testing
