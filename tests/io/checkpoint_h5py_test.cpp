// h5py opens what we write; the questions are in checkpoint_h5py.py.
#include "tests/io/checkpoint_fixture.hpp"
#include "tests/source_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <cstdlib>
#include <sys/wait.h>

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr int no_h5py = 77;

std::string python()
{
    // The system's own interpreter sees the distribution's python3-h5py.
    return std::filesystem::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
}

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_h5py)

BOOST_AUTO_TEST_CASE(the_index_shows_the_whole_model)
{
    for (int num_stages = 1; num_stages <= 3; ++num_stages) {
        TemporaryFolder scratch;
        ExampleModel model;
        const auto folder = save(model, scratch.path(), num_stages);
        const std::string command = "exec " + python() + " '" +
                                    source_path("tests/io/checkpoint_h5py.py") + "' '" +
                                    folder.string() + "'";
        const int status = std::system(command.c_str());
        BOOST_REQUIRE(WIFEXITED(status));
        if (WEXITSTATUS(status) == no_h5py) {
            // tests/CMakeLists.txt reports the test as skipped when it sees this line.
            std::puts("skipped: h5py is not installed");
            return;
        }
        BOOST_TEST(WEXITSTATUS(status) == 0);
    }
}

BOOST_AUTO_TEST_SUITE_END()
