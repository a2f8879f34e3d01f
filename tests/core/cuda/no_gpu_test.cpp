// What the floor says where there is no GPU, or no CUDA in the build.
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdio>

using namespace sluice;

namespace {

bool says_what_to_do(const UserError& error)
{
    return error.code() == ExitCode::usage && error.remedy().find("\"cpu\"") != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(no_gpu)

BOOST_AUTO_TEST_CASE(everything_refuses_in_words)
{
    if (num_gpus() > 0) {
        std::puts("skipped: this machine has a GPU");
        return;
    }
    BOOST_TEST(!why_no_gpu().empty());
    BOOST_CHECK_EXCEPTION(use_gpu(0), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(gpu_info(0), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(free_gpu_bytes(), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(DeviceMemory(256), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(PinnedMemory(256), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(GpuStream({DeviceKind::cuda, 0}), UserError, says_what_to_do);
    BOOST_CHECK_EXCEPTION(GpuEvent(), UserError, says_what_to_do);
}

BOOST_AUTO_TEST_SUITE_END()
