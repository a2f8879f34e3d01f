// Kernels for GPUs where there is none: in a build without CUDA, or on a machine without a GPU.
#include "core/cuda/gpu.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/matmul.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdio>

using namespace sluice;

namespace {

constexpr Stream cuda{.backend = Backend::cuda};

bool says_what_to_do(const UserError& error)
{
    return error.code() == ExitCode::usage && error.remedy().find("\"cpu\"") != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(no_gpu)

BOOST_AUTO_TEST_CASE(kernels_refuse_in_words)
{
    if (num_gpus() > 0) {
        std::puts("skipped: this machine has a GPU");
        return;
    }
    BOOST_CHECK_EXCEPTION(kernels::launch(cuda, kernels::Matmul{}), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(kernels::launch(cuda, kernels::Fill{}), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(kernels::launch(cuda, kernels::AttentionForward{}), UserError,
                          says_what_to_do);
}

BOOST_AUTO_TEST_CASE(cudnn_refuses_in_words)
{
    if (num_gpus() > 0) {
        std::puts("skipped: this machine has a GPU");
        return;
    }
    Stream stream = cuda;
    stream.cudnn_attention = true;
    BOOST_CHECK_EXCEPTION(kernels::prepare_cudnn_attention(stream, DType::bf16, {1, 128, 1, 64}),
                          UserError, [](const UserError& error) {
                              return error.code() == ExitCode::usage && !error.remedy().empty();
                          });
    BOOST_CHECK_THROW(kernels::run_cudnn(stream, kernels::AttentionForward{}), UserError);
    BOOST_CHECK_THROW(kernels::run_cudnn(stream, kernels::AttentionBackward{}), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
