// sluice_conformance [BOOST OPTIONS] -- cpu|emulated|races|gpu|checked|cudnn
#define BOOST_TEST_NO_MAIN
#define BOOST_TEST_ALTERNATIVE_INIT_API
#include <boost/test/unit_test.hpp>

#include "core/cuda/gpu.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <cstdio>
#include <string>

using namespace sluice;
using testing::BackendUnderTest;

int main(int argc, char** argv)
{
    constexpr int skipped = 77; // as CTest is told
    std::string backend = argc > 1 ? argv[argc - 1] : "";
    if (backend == "checked") {
        testing::set_watched_by_checkers();
        backend = "gpu";
    }
    if (backend == "gpu" || backend == "cudnn") {
        if (num_gpus() == 0) {
            std::printf("skipped: %s\n", why_no_gpu().c_str());
            return skipped;
        }
        const std::string cudnn = backend == "cudnn" ? kernels::why_no_cudnn() : "";
        if (!cudnn.empty()) {
            std::printf("skipped: %s\n", cudnn.c_str());
            return skipped;
        }
        testing::set_backend_under_test(backend == "gpu" ? BackendUnderTest::gpu
                                                         : BackendUnderTest::cudnn);
    } else if (backend == "emulated") {
        testing::set_backend_under_test(BackendUnderTest::emulated);
    } else if (backend == "races") {
        if (!testing::races_are_found()) {
            std::fprintf(stderr, "races are found by sluice_race_checked_conformance alone\n");
            return 2;
        }
        testing::set_backend_under_test(BackendUnderTest::races);
    } else if (backend != "cpu") {
        std::fprintf(stderr,
                     "name a backend at the end: -- cpu, emulated, races, gpu, checked or cudnn\n");
        return 2;
    }
    return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
