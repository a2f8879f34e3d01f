#include "src/submit/gpu_request.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

/// On two nodes with four ranks each.
GpuRequest asked(const std::string& option, const std::string& value)
{
    return sluice::gpu_request({{"nodes", "2"}, {option, value}}, 2, 4);
}

std::string doubts(const GpuRequest& request, std::string_view device, int tasks_per_node = 4)
{
    std::string all;
    for (const std::string& one : doubts_about(request, device, tasks_per_node))
        all += one + "\n";
    return all;
}

bool has(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(gpu_request)

BOOST_AUTO_TEST_CASE(every_way_to_ask_is_understood)
{
    const struct {
        const char *option, *value;
        bool any;
        std::int64_t per_node;
    } cases[] = {
        {"gpus-per-node", "4", true, 4},
        {"gpus-per-node", "h100:4", true, 4},
        {"gpus-per-node", "h100", true, 1},
        {"gpus-per-node", "a100:2,h100:1", true, 3},
        {"gres", "gpu", true, 1},
        {"gres", "gpu:8", true, 8},
        {"gres", "shm:2,gpu:h100:8", true, 8},
        {"gres", "gres/gpu:h100:2", true, 2},
        {"gres", "gpu:h100", true, 1},
        {"gres", "gpu:3g.20gb", true, 1},
        {"gres", "gpu:0", false, 0},
        {"gres", "none", false, 0},
        {"gres", "gpuless:4", false, 0},
        {"gpus", "8", true, 4},
        {"gpus", "3", true, 0},
        {"gpus", "4096", true, 2048},
        {"gpus", "0", false, 0},
        {"gpus-per-task", "1", true, 4},
        {"gpus-per-socket", "2", true, 0},
        {"mem", "4G", false, 0},
    };
    for (const auto& one : cases)
        BOOST_TEST_CONTEXT(one.option << "=" << one.value)
        {
            const GpuRequest request = asked(one.option, one.value);
            BOOST_TEST(request.any == one.any);
            BOOST_TEST(request.per_node == one.per_node);
            BOOST_TEST(request.hides_peers == (std::string(one.option) == "gpus-per-task"));
        }
    BOOST_TEST(asked("gpus-per-node", "4").ranks_per_gpu(4) == 1);
    BOOST_TEST(asked("gpus-per-node", "3").ranks_per_gpu(4) == 2);
    BOOST_TEST(asked("gpus-per-node", "8").ranks_per_gpu(4) == 1);
    BOOST_TEST(asked("gpus", "3").ranks_per_gpu(4) == 1);
    BOOST_TEST(!sluice::gpu_request({{"gpus-per-task", "1"}}, 2, 1).hides_peers);
}

BOOST_AUTO_TEST_CASE(auto_is_what_the_job_asks_for)
{
    const GpuRequest none, some{.any = true, .per_node = 4};
    BOOST_TEST(device_of_job("auto", none) == "cpu");
    BOOST_TEST(device_of_job("auto", some) == "cuda");
    BOOST_TEST(device_of_job("cpu", some) == "cpu");
    BOOST_TEST(device_of_job("cuda", none) == "cuda");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_meant_is_said)
{
    const GpuRequest none, four{.any = true, .per_node = 4}, some{.any = true};
    BOOST_TEST(doubts(none, "auto") == "");
    BOOST_TEST(doubts(none, "cpu") == "");
    BOOST_TEST(has(doubts(none, "cuda"), "asks for no GPUs: give --gpus-per-node"));
    BOOST_TEST(has(doubts(four, "cpu"), "leaves idle"));
    for (const char* device : {"auto", "cuda"}) {
        BOOST_TEST(doubts(four, device) == "");
        BOOST_TEST(doubts(some, device) == "");
        BOOST_TEST(has(doubts(four, device, 1), "3 of 4 GPUs on each node stay idle, as it has 1 "
                                                "rank: --ntasks-per-node 4"));
        BOOST_TEST(has(doubts(four, device, 8), "8 ranks share 4 GPUs on each node"));
        BOOST_TEST(has(doubts(asked("gpus-per-task", "1"), device), "hides the GPUs"));
    }
}

BOOST_AUTO_TEST_SUITE_END()
