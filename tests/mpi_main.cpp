// Runs Boost.Test on every rank of an MPI job. The job fails when a test failed on any rank, when
// no test ran on some rank, or when a test takes longer than a minute: then the rank is named and
// the job ends.

#include "core/gpu_queues.hpp"
#include "pipeline/transport/mpi_message_type.hpp"
#include "tests/mpi_session.hpp"

#define BOOST_TEST_NO_MAIN
#define BOOST_TEST_ALTERNATIVE_INIT_API
#include <boost/test/tree/observer.hpp>
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace sluice::testing {

namespace {

std::unique_ptr<Transport> the_transport;
std::atomic<std::int64_t> num_sends{0}, num_receives{0};

/// Ends the job when nothing has been heard for a minute.
class Watchdog {
public:
    explicit Watchdog(int rank) : rank_(rank), thread_([this] { watch(); }) {}
    ~Watchdog()
    {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }
    void now_running(std::string what)
    {
        const std::lock_guard lock(mutex_);
        running_ = std::move(what);
        since_ = std::chrono::steady_clock::now();
    }

private:
    void watch()
    {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, std::chrono::seconds(1), [this] { return stopping_; })) {
            if (std::chrono::steady_clock::now() - since_ < std::chrono::seconds(60))
                continue;
            std::fprintf(stderr, "rank %d hangs in %s\n", rank_, running_.c_str());
            std::fflush(nullptr);
            // Not MPI_Abort: this is not the thread that may call MPI. The launcher ends the rest.
            std::_Exit(static_cast<int>(ExitCode::peer));
        }
    }

    int rank_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    std::string running_ = "start or end of the tests";
    std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
    std::thread thread_;
};

class Observer : public boost::unit_test::test_observer {
public:
    explicit Observer(Watchdog& watchdog) : watchdog_(watchdog) {}
    void test_unit_start(boost::unit_test::test_unit const& unit) override
    {
        if (unit.p_type == boost::unit_test::TUT_CASE) {
            watchdog_.now_running(unit.full_name());
            ++num_cases;
        }
    }
    void test_unit_finish(boost::unit_test::test_unit const& unit, unsigned long) override
    {
        if (unit.p_type == boost::unit_test::TUT_CASE)
            watchdog_.now_running("start or end of the tests");
    }
    int num_cases = 0;

private:
    Watchdog& watchdog_;
};

int run_all(int argc, char** argv)
{
    ask_for_queues_on_gpus();
    the_transport = make_mpi_transport();
    const int rank = the_transport->rank();
    double verdict[2] = {0.0, 0.0}; // exit code; whether no test ran
    {
        Watchdog watchdog(rank);
        Observer observer(watchdog);
        boost::unit_test::framework::register_observer(observer);
        verdict[0] = boost::unit_test::unit_test_main([] { return true; }, argc, argv);
        verdict[1] = observer.num_cases == 0 ? 1.0 : 0.0;
        the_transport->max(verdict);
    }
    if (verdict[1] > 0.0 && rank == 0)
        std::fprintf(stderr, "no test ran\n");
    the_transport.reset();
    return verdict[0] > 0.0 ? static_cast<int>(verdict[0]) : (verdict[1] > 0.0 ? 1 : 0);
}

} // namespace

Transport& shared_transport() { return *the_transport; }
std::int64_t sends_started() { return num_sends; }
std::int64_t receives_started() { return num_receives; }

} // namespace sluice::testing

// The program's own MPI calls come through here (MPI's profiling interface).
extern "C" int MPI_Isend(const void* buffer, int count, MPI_Datatype type, int to, int tag,
                         MPI_Comm communicator, MPI_Request* request)
{
    ++sluice::testing::num_sends;
    return PMPI_Isend(buffer, count, type, to, tag, communicator, request);
}

extern "C" int MPI_Irecv(void* buffer, int count, MPI_Datatype type, int from, int tag,
                         MPI_Comm communicator, MPI_Request* request)
{
    ++sluice::testing::num_receives;
    return PMPI_Irecv(buffer, count, type, from, tag, communicator, request);
}

int main(int argc, char** argv) { return sluice::testing::run_all(argc, argv); }
