// Passes of a chunk as graphs on emulated GPUs: the same bits as kernel by kernel, whatever the
// gates become, and never a graph of other gates' kernels.
#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/wait_attendant.hpp"
#include "layers/gates.hpp"
#include "layers/kernels/adamw.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"
#include "tests/layers/layer_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <iterator>

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr int num_microbatches = 3;
constexpr double loss_scale = 0.05;

/// Gates of some updates: closed ones, some that open, all of them on their way, back to closed.
const std::vector<std::vector<double>> warmup = {{0.0, 0.0, 0.0, 0.0},  {0.5, 0.0, 0.0, 0.0},
                                                 {1.0, 0.25, 0.3, 0.1}, {1.0, 0.5, 0.6, 0.2},
                                                 {1.0, 0.7, 0.6, 0.3},  {0.5, 0.0, 0.0, 0.0}};

std::vector<std::byte> bytes_of(const Stream& stream, const TensorView& tensor)
{
    const HostCopy copy(stream, tensor);
    return {copy.bytes().begin(), copy.bytes().end()};
}

void write(const Stream& stream, const TensorView& to, std::int64_t seed)
{
    const HostCopy ids(stream, to, HostCopy::Begin::empty);
    for (std::int64_t i = 0; i < to.num_elements(); ++i)
        ids.view().as<std::int32_t>()[i] = static_cast<std::int32_t>((7 * i + seed) % 13);
    ids.write_back();
}

/// A chunk on a GPU and what it leaves: losses and gradients after every update.
class TestedChunk {
public:
    TestedChunk(ModelChunkOptions options, std::int64_t graph_launches)
        : compute_(Stream{.backend = Backend::cuda, .device = use_gpu(0)})
    {
        options.stream = compute_.stream();
        options.graph_launches = graph_launches;
        options.num_slots = 2;
        chunk_ = std::make_unique<ModelChunk>(options);
        chunk_->initialize(3);
    }

    ~TestedChunk() { drain(compute_.stream()); }
    TestedChunk(const TestedChunk&) = delete;
    TestedChunk& operator=(const TestedChunk&) = delete;

    void update(const std::vector<double>& alphas, GradientObserver* observer = nullptr)
    {
        const Stream& stream = compute_.stream();
        chunk_->zero_gradients();
        for (int m = 0; m < num_microbatches; ++m) {
            const int slot = m % 2;
            write(stream, chunk_->input_tokens(slot), m);
            write(stream, chunk_->target_tokens(slot), m + 5);
            chunk_->forward(slot, alphas);
            if (m == 0) {
                chunk_->evaluate(slot);
                keep(chunk_->token_losses());
            }
            if (chunk_->options().split == BackwardSplit::split) {
                chunk_->backward_input(slot, 0, alphas, loss_scale);
                chunk_->backward_weight(slot, 0, alphas, observer);
            } else {
                chunk_->backward(slot, 0, alphas, loss_scale, observer);
            }
            keep(chunk_->token_losses());
        }
        for (const Parameter& parameter : chunk_->parameters())
            keep(parameter.gradient);
        std::vector<double> squares(chunk_->parameters().size());
        chunk_->gradient_squares(squares);
        const auto bytes = std::as_bytes(std::span(squares));
        kept_.emplace_back(bytes.begin(), bytes.end());
        chunk_->make_graphs_ready();
        chunk_->update_weights(next_step());
        for (const Parameter& parameter : chunk_->parameters())
            keep(parameter.value);
    }

    /// What lies between parameters and behind them.
    std::vector<std::byte> gaps() const
    {
        std::vector<std::byte> all;
        const std::span<const Parameter> parameters = chunk_->parameters();
        for (const ParameterGroup& group : groups_of(parameters)) {
            const HostCopy values(compute_.stream(), group.value);
            std::ranges::copy(gaps_of(group, parameters, values.bytes()), std::back_inserter(all));
        }
        return all;
    }

    const std::vector<std::vector<std::byte>>& kept() const { return kept_; }
    ModelChunk& chunk() { return *chunk_; }

private:
    /// Other numbers every time.
    kernels::AdamW next_step()
    {
        const double number = ++num_steps_;
        kernels::AdamW step{};
        step.gradient_scale = 1.0 / number;
        step.lr = 0.01 * number;
        step.weight_decay = 0.1;
        step.bias_correction1 = 1.0 - std::pow(step.beta1, number);
        step.bias_correction2 = 1.0 - std::pow(step.beta2, number);
        return step;
    }
    void keep(const TensorView& tensor) { kept_.push_back(bytes_of(compute_.stream(), tensor)); }

    ComputeStream compute_;
    std::unique_ptr<ModelChunk> chunk_;
    std::vector<std::vector<std::byte>> kept_;
    int num_steps_ = 0;
};

ModelChunkOptions options_of(const Variant& variant, const Precision& precision = bf16_precision)
{
    return whole_model(small_model(variant), precision);
}

struct Silent : GradientObserver {
    void gradients_done(std::span<const Parameter>) override { ++num_calls; }
    int num_calls = 0;
};

} // namespace

BOOST_AUTO_TEST_SUITE(action_graphs)

BOOST_AUTO_TEST_CASE(graphs_give_the_bits_of_single_launches_while_gates_open_and_close)
{
    int combination = 0; // of two ways to go back and three to compute again: each once
    for (const Variant& variant : all_variants) {
        ModelChunkOptions options = options_of(variant);
        options.split = combination % 2 == 0 ? BackwardSplit::fused : BackwardSplit::split;
        options.recompute = static_cast<Recompute>(combination++ % 3);
        TestedChunk single(options, 0), graphs(options, 100'000);
        for (const auto& alphas : warmup)
            for (TestedChunk* tested : {&single, &graphs})
                tested->update(alphas);
        BOOST_TEST((single.kept() == graphs.kept()), variant.name());
        BOOST_TEST(single.chunk().held_graphs().num_graphs == 0);
        BOOST_TEST(graphs.chunk().held_graphs().num_graphs > 0);
    }
}

BOOST_AUTO_TEST_CASE(also_when_work_runs_early)
{
    for (std::uint64_t seed = 1; seed <= 2; ++seed) {
        WorkQueues::of_process().set_seed(seed);
        TestedChunk single(options_of({Arrangement::sandwich}, fp32_precision), 0),
            graphs(options_of({Arrangement::sandwich}, fp32_precision), 100'000);
        for (const auto& alphas : warmup)
            for (TestedChunk* tested : {&single, &graphs})
                tested->update(alphas);
        BOOST_TEST((single.kept() == graphs.kept()));
    }
    WorkQueues::of_process().set_seed(0);
}

// Replicas compare groups of parameters as a whole.
BOOST_AUTO_TEST_CASE(what_lies_between_parameters_stays_zero)
{
    for (const Precision& precision : {fp32_precision, bf16_precision, pure_bf16_precision}) {
        TestedChunk tested(options_of({Arrangement::sandwich}, precision), 100'000);
        for (const auto& alphas : {warmup[2], warmup[3], warmup[4]})
            tested.update(alphas);
        const std::vector<std::byte> gaps = tested.gaps();
        BOOST_TEST(!gaps.empty());
        BOOST_TEST(std::ranges::count(gaps, std::byte{}) == std::ssize(gaps));
    }
}

BOOST_AUTO_TEST_CASE(a_pass_is_captured_when_it_comes_again_and_kept_until_other_gates_close)
{
    TestedChunk tested(options_of({Arrangement::pre}), 100'000);
    const auto num_graphs = [&] { return tested.chunk().held_graphs().num_graphs; };
    tested.update(warmup[2]);      // slots 0, 1, 0: the third micro-batch comes again
    BOOST_TEST(num_graphs() == 2); // its forward and backward
    tested.update(warmup[3]);
    BOOST_TEST(num_graphs() == 8); // of both slots; evaluation, zeros, squares, step
    const auto launches = tested.chunk().held_graphs().num_launches;
    tested.update(warmup[4]);
    BOOST_TEST(num_graphs() == 8);
    BOOST_TEST(tested.chunk().held_graphs().num_launches == launches);
    tested.update(warmup[5]);
    BOOST_TEST(num_graphs() == 2);
}

BOOST_AUTO_TEST_CASE(nothing_is_brought_to_the_gpu_or_taken_from_it_beside_messages)
{
    TestedChunk tested(options_of({Arrangement::pre}), 100'000);
    tested.update(warmup[3]);
    tested.update(warmup[3]);
    ModelChunk& chunk = tested.chunk();
    const std::size_t before = free_gpu_bytes();
    chunk.forward(0, warmup[5]);
    chunk.forward(0, warmup[5]); // captured, and the others dropped
    BOOST_TEST(free_gpu_bytes() == before);
    const ComputeStream messages(Stream{.backend = Backend::cuda, .device = use_gpu(0)});
    auto& queue = *static_cast<WorkQueue*>(GpuStream::of(messages.stream()).native());
    bool there = false;
    WorkQueues::of_process().add(
        queue, "Receive", [] {}, [&] { return there; });
    const std::size_t beside = free_gpu_bytes();
    chunk.forward(0, warmup[5]); // still kernel by kernel
    BOOST_TEST(free_gpu_bytes() == beside);
    BOOST_CHECK_THROW(chunk.make_graphs_ready(), EmulationError);
    there = true;
    synchronize(messages.stream());
    chunk.make_graphs_ready();
    BOOST_TEST(chunk.held_graphs().num_graphs == 1);
    BOOST_TEST(free_gpu_bytes() > beside); // one graph in place of many
}

BOOST_AUTO_TEST_CASE(norms_are_measured_by_other_graphs)
{
    TestedChunk tested(options_of({Arrangement::pre}), 100'000),
        single(options_of({Arrangement::pre}), 0);
    for (const ActivationNorms norms :
         {ActivationNorms::ignored, ActivationNorms::measured, ActivationNorms::ignored,
          ActivationNorms::measured, ActivationNorms::measured})
        for (const auto& alphas : {warmup[2], warmup[3]}) {
            std::vector<std::vector<double>> found;
            for (TestedChunk* one : {&tested, &single}) {
                one->chunk().set_activation_norms(norms);
                one->update(alphas);
                if (norms == ActivationNorms::measured) {
                    found.emplace_back(4);
                    one->chunk().activation_norms(found.back());
                }
            }
            BOOST_TEST((found.empty() || found[0] == found[1]));
        }
    BOOST_TEST((tested.kept() == single.kept()));
    // Forward passes of two slots in two ways, backward passes; evaluation, zeros, squares, step.
    BOOST_TEST(tested.chunk().held_graphs().num_graphs == 4 + 2 + 4);
}

BOOST_AUTO_TEST_CASE(a_pass_that_is_observed_is_launched_kernel_by_kernel)
{
    TestedChunk tested(options_of({Arrangement::pre}), 100'000);
    Silent observer;
    for (int i = 0; i < 3; ++i)
        tested.update(warmup[3], &observer);
    BOOST_TEST(observer.num_calls == 3 * num_microbatches * 6); // head, layers, embedding
    BOOST_TEST(tested.chunk().held_graphs().num_graphs == 6);   // but for backwards
}

BOOST_AUTO_TEST_CASE(what_finds_no_room_is_launched_kernel_by_kernel)
{
    TestedChunk single(options_of({Arrangement::pre}), 0), few(options_of({Arrangement::pre}), 60);
    for (const auto& alphas : warmup)
        for (TestedChunk* tested : {&single, &few})
            tested->update(alphas);
    BOOST_TEST((single.kept() == few.kept()));
    BOOST_TEST(few.chunk().held_graphs().num_launches <= 60);
    // Nor where the GPU has no memory left.
    TestedChunk poor(options_of({Arrangement::pre}), 100'000);
    const DeviceMemory rest(free_gpu_bytes() - (std::size_t{1} << 20));
    for (const auto& alphas : warmup)
        poor.update(alphas);
    BOOST_TEST((single.kept() == poor.kept()));
    BOOST_TEST(poor.chunk().held_graphs().num_graphs == 0);
}

BOOST_AUTO_TEST_CASE(gates_are_copied_when_they_change_and_the_host_may_go_ahead)
{
    const ComputeStream compute(Stream{.backend = Backend::cuda, .device = use_gpu(0)});
    const Stream& stream = compute.stream();
    const DeviceMemory memory(2 * sizeof(float)), seen(20 * 2 * sizeof(float));
    Gates gates(stream, 2, {memory.data(), DType::f32, {2}, stream.device});
    const TensorView all{seen.data(), DType::f32, {20, 2}, stream.device};
    for (int i = 0; i < 20; ++i) {
        gates.set(std::vector<double>{0.1 * (i / 2), 1.0 / 3.0});
        copy(stream, {memory.data(), DType::f32, {2}, stream.device},
             all.slice(2 * std::int64_t{i}, {2}));
    }
    const HostCopy found(stream, all);
    for (int i = 0; i < 20; ++i) {
        BOOST_TEST(found.view().as<float>()[2 * i] == static_cast<float>(0.1 * (i / 2)));
        BOOST_TEST(found.view().as<float>()[2 * i + 1] == static_cast<float>(1.0 / 3.0));
    }
    BOOST_TEST(gates.of(1).value == 1.0 / 3.0);
    BOOST_CHECK_THROW(gates.set(std::vector<double>{1.0}), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
