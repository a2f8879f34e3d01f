#include "src/cli/bundled_mpirun.hpp"

#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>

using namespace sluice;

namespace {

/// A bundle's folders; OPAL_PREFIX and PATH as they were when it goes.
struct Folders {
    Folders()
    {
        unsetenv("OPAL_PREFIX");
        std::filesystem::create_directories(prefix / "bin");
    }
    ~Folders()
    {
        for (const char* name : {"OPAL_PREFIX", "OPAL_SYSCONFDIR", "PMIX_LIBDIR", "PMIX_DATADIR",
                                 "OMPI_MCA_plm_rsh_agent"})
            unsetenv(name);
        setenv("PATH", path.c_str(), 1);
    }
    void make_open_mpi() const
    {
        std::filesystem::create_directories(prefix / "lib/x86_64-linux-gnu/openmpi");
        std::filesystem::create_directories(prefix / "etc/openmpi");
    }
    testing::TemporaryFolder bundle;
    std::filesystem::path prefix = bundle.path();
    std::string path = std::getenv("PATH");
};

} // namespace

BOOST_AUTO_TEST_SUITE(bundled_mpirun)

BOOST_AUTO_TEST_CASE(a_bundle_is_told_where_it_lies)
{
    const Folders folders;
    folders.make_open_mpi();
    use_bundled_mpirun(folders.prefix / "bin/sluice");
    BOOST_REQUIRE(std::getenv("OPAL_PREFIX") != nullptr);
    BOOST_TEST(std::string(std::getenv("OPAL_PREFIX")) == folders.prefix.string());
    BOOST_TEST(std::string(std::getenv("PATH")) ==
               (folders.prefix / "bin").string() + ":" + folders.path);
}

BOOST_AUTO_TEST_CASE(elsewhere_nothing_changes)
{
    const Folders folders;
    std::filesystem::create_directories(folders.prefix / "lib/x86_64-linux-gnu/openmpi"); // as /usr
    use_bundled_mpirun(folders.prefix / "bin/sluice");
    BOOST_TEST(std::getenv("OPAL_PREFIX") == nullptr);
    BOOST_TEST(std::string(std::getenv("PATH")) == folders.path);
}

BOOST_AUTO_TEST_CASE(what_the_user_says_counts)
{
    const Folders folders;
    folders.make_open_mpi();
    setenv("OPAL_PREFIX", "/somewhere", 1);
    use_bundled_mpirun(folders.prefix / "bin/sluice");
    BOOST_TEST(std::string(std::getenv("OPAL_PREFIX")) == "/somewhere");
    BOOST_TEST(std::string(std::getenv("PATH")) == folders.path);
}

BOOST_AUTO_TEST_SUITE_END()
