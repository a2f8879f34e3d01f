# The oracle's own tests, where there is a Python with PyTorch; the C++ tests need only its fixtures.
find_program(SLUICE_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT SLUICE_PYTHON)
    find_program(SLUICE_PYTHON NAMES python3)
endif()
set(no_torch 1)
if(SLUICE_PYTHON)
    execute_process(COMMAND ${SLUICE_PYTHON} -B -c "import torch, h5py"
                    RESULT_VARIABLE no_torch OUTPUT_QUIET ERROR_QUIET)
endif()
if(NOT no_torch)
    add_test(NAME oracle/selftest
             COMMAND ${SLUICE_PYTHON} -B ${CMAKE_CURRENT_LIST_DIR}/oracle_selftest.py)
    add_test(NAME oracle/fixtures_are_reproduced
             COMMAND ${SLUICE_PYTHON} -B ${CMAKE_CURRENT_LIST_DIR}/generate.py --check)
    set_tests_properties(oracle/selftest oracle/fixtures_are_reproduced PROPERTIES
                         TIMEOUT 300 LABELS oracle)
endif()
