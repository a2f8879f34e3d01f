// The oracle's tests on a GPU: a real one, or, in a program that links tests/emulated_gpu, an
// emulated one.
#define BOOST_TEST_NO_MAIN
#define BOOST_TEST_ALTERNATIVE_INIT_API
#include <boost/test/unit_test.hpp>

#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "tests/oracle/oracle_model.hpp"

#include <cstdio>
#include <set>

namespace sluice::testing {

Stream tested_stream()
{
    static const GpuStream stream(use_gpu(0));
    return stream.stream();
}

std::vector<std::string> tested_training_fixtures()
{
    std::vector<std::string> chosen; // named ARRANGEMENT_SCHEDULE.h5
    std::set<std::string> arrangements;
    for (const std::string& name : training_fixtures())
        if (arrangements.insert(name.substr(0, name.find('_'))).second)
            chosen.push_back(name);
    return chosen;
}

} // namespace sluice::testing

int main(int argc, char** argv)
{
    if (sluice::num_gpus() == 0) {
        std::printf("skipped: %s\n", sluice::why_no_gpu().c_str());
        return 77; // as CTest is told
    }
    return boost::unit_test::unit_test_main([] { return true; }, argc, argv);
}
