# sluice_floor(<folder> LINK <libraries...> [EXCLUDE <files...>]): the library of one floor, from every
# source below its folder. Of the folders named cuda it takes what *_absent.cpp stands in for, or the
# stand-ins.
function(sluice_floor folder)
    cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
         ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
    file(GLOB_RECURSE kernels CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
         ${PROJECT_SOURCE_DIR}/${folder}/*.cu)
    if(SLUICE_HAS_CUDA)
        list(FILTER sources EXCLUDE REGEX "/cuda/[^/]*_absent\\.cpp$")
        list(APPEND sources ${kernels})
    else()
        foreach(source ${sources})
            if(source MATCHES "/cuda/" AND NOT source MATCHES "_absent\\.cpp$")
                list(REMOVE_ITEM sources ${source})
            endif()
        endforeach()
    endif()
    if(ARG_EXCLUDE)
        list(REMOVE_ITEM sources ${ARG_EXCLUDE})
    endif()
    add_library(sluice_${folder} STATIC ${sources})
    add_library(sluice::${folder} ALIAS sluice_${folder})
    target_link_libraries(sluice_${folder} PUBLIC ${ARG_LINK} sluice_flags)
endfunction()
