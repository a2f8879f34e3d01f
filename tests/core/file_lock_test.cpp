#include "core/file_lock.hpp"

#include "core/durable_file.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace sluice;
using testing::contains;
using testing::message_of;
using testing::TemporaryFolder;

BOOST_AUTO_TEST_SUITE(file_lock)

BOOST_AUTO_TEST_CASE(one_holds_it_at_a_time_and_is_named)
{
    const TemporaryFolder folder;
    auto first = std::make_unique<FileLock>(folder / "lock");
    FileLock second(folder / "lock");
    BOOST_TEST(second.holder() == "");
    BOOST_TEST(first->take());
    BOOST_TEST(!second.take());
    BOOST_TEST(second.holder().starts_with("process " + std::to_string(::getpid()) + " on "));
    BOOST_TEST(second.is_held_here());
    first.reset();
    BOOST_TEST(fs::exists(folder / "lock"));
    BOOST_TEST(second.take());
    BOOST_TEST(contains(message_of([&] { FileLock(folder / "absent" / "lock").take(); }),
                        "No such file or directory (open)"));
}

BOOST_AUTO_TEST_CASE(a_group_that_shares_the_folder_shares_the_lock)
{
    const TemporaryFolder folder;
    const mode_t before = ::umask(002);
    FileLock lock(folder / "lock");
    BOOST_TEST(lock.take());
    ::umask(before);
    BOOST_CHECK((fs::status(folder / "lock").permissions() & fs::perms::group_write) !=
                fs::perms::none);
}

BOOST_AUTO_TEST_CASE(whoever_holds_it_sees_that_the_file_was_deleted)
{
    const TemporaryFolder folder;
    FileLock first(folder / "lock"), second(folder / "lock");
    BOOST_TEST(first.take());
    BOOST_TEST(first.is_in_place());
    fs::remove(folder / "lock");
    BOOST_TEST(!first.is_in_place());
    BOOST_TEST(first.take());
    BOOST_TEST(first.is_in_place());
    BOOST_TEST(!second.take());
    fs::remove(folder / "lock");
    BOOST_TEST(second.take());
    BOOST_TEST(!first.is_in_place());
    BOOST_TEST(!first.take());
    BOOST_TEST(!first.is_in_place()); // it holds nothing any more
}

BOOST_AUTO_TEST_CASE(a_killed_process_holds_nothing)
{
    const TemporaryFolder folder;
    const pid_t child = ::fork();
    if (child == 0) {
        FileLock lock(folder / "lock", FileLock::Afterwards::is_removed);
        const bool taken = lock.take();
        ::_exit(taken ? 0 : 1); // without destructors
    }
    int status = -1;
    BOOST_TEST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST(status == 0);
    BOOST_TEST(fs::exists(folder / "lock"));
    {
        FileLock lock(folder / "lock", FileLock::Afterwards::is_removed);
        BOOST_TEST(!lock.is_held_here());
        BOOST_TEST(lock.take());
        BOOST_TEST(lock.is_held_here());
    }
    BOOST_TEST(folder.num_entries() == 0);
}

/// Who has opened the file that its holder then removes must not take that for the lock.
BOOST_AUTO_TEST_CASE(removal_lets_nobody_in_beside_another)
{
    const TemporaryFolder folder;
    int inside = 0; // guarded by the lock alone
    bool alone = true;
    const auto work = [&] {
        for (int i = 0; i < 300; ++i) {
            FileLock lock(folder / "lock", FileLock::Afterwards::is_removed);
            if (!lock.take())
                continue;
            alone = alone && ++inside == 1;
            std::this_thread::yield();
            --inside;
        }
    };
    std::thread one(work), other(work);
    one.join();
    other.join();
    BOOST_TEST(alone);
    BOOST_TEST(folder.num_entries() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
